"""How the policy in the box was made (docs/box.md): run from a checkout, no part of the installed package."""
