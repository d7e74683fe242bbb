"""The routes: which targets stand behind a public name, and in which order they are asked."""
