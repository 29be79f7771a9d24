"""What runs on the far side of the sandbox.

    server -> a process for each program (keeper's parent) -> keeper, pid 1 of its own namespace -> player, the program

Of the standard library alone: it is started by its path, isolated and without site-packages, so that it starts in a moment
and nothing of the user's environment is importable. Hence the relative imports. Linux only.

    server.py   forks a process a program       keeper.py   starts and watches the program
    room.py     namespaces and the file system  filter.py   system calls that a program may not make
    stage.py    what one test has to itself     pipes.py    takes what it prints
    script.py   runs a program                  player.py   runs a function, or the tests of one
    python.py   what Python does around it      wire.py     messages     values.py   what a call may take and give
"""
