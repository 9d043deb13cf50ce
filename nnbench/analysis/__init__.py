"""Tables, statistics and plots: pure functions, DataFrame in, DataFrame or Axes out."""
