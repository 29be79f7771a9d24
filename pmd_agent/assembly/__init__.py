"""From a recipe to a running loop: the only place where all parts are known."""
