"""A run to be looked at, while it goes and afterwards: what its folder says as JSON, and one page that shows it.

    overview.py    curves, accuracies, alarms, the last step in words         source.py   all of it, read when asked for
    rollouts.py    what was attempted, and what the teacher thought of it     page.py     the page, alone or served
    answers.py     answers to the test problems before and after              site.py     the server of `pmd watch`
    memories.py    what was remembered, and what became of it

The page draws with uPlot (uplot/, MIT), which is the only code in it that is not ours.
"""
