"""What runs showed, in figures: accuracies, gauges of a step, and arms beside each other with intervals.

scores.py      avg@k, pass@k, maj@k                    diagnostics.py       how the policy writes, alarms
finished_runs.py    runs, read                              intervals.py    intervals over seeds and problems
arms.py        runs of one arm, and what an arm showed curves.py       accuracy against rollouts and seconds
certificate.py what an export won and lost            gauges.py       every figure that a step may report
"""
