"""python -m pmd_agent"""

from pmd_agent.cli import main

if __name__ == "__main__":
    main()
