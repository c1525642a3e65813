"""Small models of other libraries, a file for each library, with the MLPs that a person counts in their source."""
