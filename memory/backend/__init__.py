"""How the three tiers lie on Chroma.

codec.py       entries <-> what Chroma can hold       collection.py  one Chroma collection and its index
folder.py      the lock, and whose vectors these are  tiers.py       the collections together, and the way back
server.py      on a Chroma server                     ledger.py      how memories fared, step by step
index_file.py  an index that need not be scanned for  writers.py     who else has written
"""
