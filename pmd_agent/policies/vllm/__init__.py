"""The policy on a vLLM server.

policy         what the loop sees: samples, adapters, sleep; restores what a dead server takes with it
client         the HTTP calls                     answers           what comes back, as completions
same_weights   are they, after sleep, in all copies?  lm            DSPy's language model on the same server
server         started, watched, restarted        server_arguments  from settings to a command line
process_guard, watchdog  nothing outlives its owner    log          the log's own reason why it did not start
start_turn     one server at a time starts on a GPU      serve_command  `pmd serve`
"""
