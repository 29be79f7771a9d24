"""What a run leaves on disk, and how it survives a kill.

folder.py commits steps, files.py writes whole files, lock.py keeps others out.
"""
