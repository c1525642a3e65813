"""Small models of other libraries, a file for each library, with the MLPs that a person counts in their source."""

import os

os.environ.setdefault("YOLO_OFFLINE", "true")  # ultralytics looks for a network when it is imported
