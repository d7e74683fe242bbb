"""Real repositories, made by git itself."""
