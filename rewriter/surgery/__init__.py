"""Apply: carry a recipe out on a model's own module tree."""
