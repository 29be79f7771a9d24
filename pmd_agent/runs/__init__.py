"""What a run leaves on disk, and how it survives a kill.

folder.py  commits steps          files.py          files that are whole or not there
lock.py    one writer at a time   program_trace.py  what the DSPy programs were asked
environment.py  where and with what a run was made
"""
