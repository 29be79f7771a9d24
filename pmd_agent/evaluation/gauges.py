"""Every figure that a step may report in metrics.jsonl, and what it says. Tests hold the list against what runs write."""

from __future__ import annotations

_ACCURACY = {
    "validation": "Accuracy on the validation problems, memory-free: the average over samples (avg@k).",
    "validation_with_memory": "The same, with memory in the prompt.",
}

_OF_ACCURACY = {
    "pass": "the share of problems that one sample solved (pass@k).",
    "low": "the lower end of its 95 % interval over problems.",
    "high": "the upper end.",
    "unchecked": "the share of answers that could not be checked. They are left out.",
}

GAUGES: dict[str, dict[str, str]] = {
    "The step": {
        "step": "The step's number, from 0. On the screen and in trackers it counts from 1.",
        "seconds": "Seconds of the whole step.",
        "stage_seconds": "Seconds of each stage: an object by the stage's name.",
    },
    "Attempts": {
        "rollouts": "How many attempts were made.",
        "reward": "Mean reward of the attempts that were checked, in [0, 1].",
        "correct": "Share of the checked attempts that were right.",
        "solved_groups": "Share of problems with at least one right attempt.",
        "unchecked": "How many attempts could not be checked. They enter no average and no memory.",
        "answer_in_feedback": "Share of wrong attempts whose feedback states the problem's answer.",
        "response_tokens": "Mean length of an attempt, in tokens that the policy wrote.",
        "truncated": "Share of attempts cut at the limit.",
        "repetition": "Share of an attempt's 4-grams of words that are repeats, on average.",
        "markers": "Share of memory-free attempts that speak of memory.",
        "turns": "Of episodes: mean number of replies.",
        "episodes_failed": "Of episodes: how many could not be checked.",
    },
    "Learning": {
        "loss": "Mean loss over tokens, in nats; importance ratio and weights are in it.",
        "tokens": "How many tokens were learnt from.",
        "grad_norm": "Mean norm of the gradient before clipping.",
        "lr": "The learning rate of the step's updates.",
        "importance_ratio": "Mean ratio to the policy that sampled; in distillation, after the clip.",
        "clip_fraction": "Share of tokens at the clip.",
        "surprisal": "Mean of -log p of the written tokens under the student, in nats. Of samples at temperature 1 it estimates "
        "the student's entropy, at no cost.",
        "entropy": "That entropy exactly, over the whole vocabulary, where `distill.entropy_every` asks for it.",
        "context_fraction": "Share of the attempts to be taught for which the teacher had something to read.",
        "context_too_long": "How many teacher's prompts had no room for what there was to read.",
        "reinforced": "Share of attempts that went to the policy gradient.",
        "updates_skipped": "How many updates had a gradient that was not finite. Nothing was learnt from them.",
        "distillation_ended": "1 from the step on at which `distill.gain_patience` ended distillation.",
    },
    "The teacher": {
        "teacher_gain": "How much more the teacher believes in right attempts than the student does, less the same for wrong "
        "attempts, in nats a token. Above 0: the memory tells right from wrong.",
        "teacher_gain_experience": "The same for a teacher that reads the demonstration and the feedback alone "
        "(`distill.tier_gains_every`).",
        "teacher_gain_insight": "The same for a teacher that reads strategies and lessons alone.",
        "teacher_gain_behavior": "The same for a teacher that reads behaviors alone.",
        "teacher_gain_shuffled": "A control (`distill.controls_every`): the teacher reads the next problem's memory. As large as "
        "`teacher_gain`: the gain is not in what the memory says.",
        "teacher_gain_reference_only": "A control: the teacher reads the memory without the problem. As large as `teacher_gain`: "
        "the memory gives the answer away.",
        "memories_dropped": "How many memories of a teacher did not fit its budget, on average.",
        "demonstration_cut": "Share of teachers whose demonstration lost its middle.",
    },
    "Memory": {
        "insights_written": "How many insights this step's reflections wrote.",
        "reflections_calls": "How often the reflector was run.",
        "reflections_unparsed": "How many of its answers could not be read.",
        "reflections_dropped": "How many sentences were dropped: empty, too long, too many, said twice.",
        "reflections_lost": "1 where not one answer could be read.",
        "behaviors": "How many behaviors there are after a generalisation.",
        "generalisations_calls": "How often the generaliser was run.",
        "generalisations_unparsed": "How many of its answers could not be read. What was known before stays.",
        "generalisations_dropped": "How many rules were dropped for their form.",
        "generalisations_unsupported": "How many rules were dropped because no insight says them.",
        "evicted_experience": "How many attempts left memory, by budget or age.",
        "evicted_insight": "How many insights left memory, by budget or age.",
        "evicted_behavior": "How many behaviors left memory, by budget or age.",
        "on_trial": "How many memories are on trial (`memory.lift.trial`).",
        "quarantined": "How many memories are quarantined: no teacher reads them.",
        "retired": "How many memories are retired: the student does without (`memory.lift.absorbed`).",
    },
    "Tuning of the reflector": {
        "optimised": "1 where the tuned reflector took over.",
        "optimise_before": "The metric of the reflector as it was, on reflections held out.",
        "optimise_after": "The metric of the tuned reflector on the same.",
    },
    "Validation": _ACCURACY
    | {f"{name}_{part}": f"Of `{name}`: {text}" for name in _ACCURACY for part, text in _OF_ACCURACY.items()},
}
