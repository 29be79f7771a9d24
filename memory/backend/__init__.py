"""How the three tiers lie on Chroma: what an entry is there, the indexed collections, the folder or server that they are in."""
