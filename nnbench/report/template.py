# %% [markdown]
# # Comparison of optimizers and activations

# %%
# %config InlineBackend.figure_formats = ["svg"]
from nnbench.report.results import load

results = load("parameters.json")
results.verdict()

# %% [markdown]
# ## Leaderboard
# Mean over seeds with the 95 % bootstrap interval of the mean. Diverged seeds count as chance level.

# %%
results.leaderboard()

# %%
results.accuracies()
# %% [markdown]
# ## Paired comparisons
# The leader and each other cell on equal seeds: exact sign-flip test, corrected for all pairs of cells. Equivalent is
# within half a point. `results.comparisons("CELL")` has those of another cell, `results.pairs("DATASET")` all.

# %%
results.comparisons()
# %% [markdown]
# ## Learning curves
# The mean over seeds of each cell; the band is one standard deviation.

# %%
results.learning_curves("val/accuracy")
# %%
results.learning_curves("train/loss")
# %% [markdown]
# ## What tuning chose, and its price
# Chosen by validation accuracy on tuning seeds; the scores beside it are from fresh seeds, tuned and untuned alike.

# %%
results.price_of_tuning()
# %% [markdown]
# ## What the run doctor says

# %%
results.findings()
# %% [markdown]
# ## Confusion matrix of the best cell
# Test split, all seeds together. `results.confusion_matrix("CELL")` draws another cell's.

# %%
results.confusion_matrix()
# %% [markdown]
# ## How to reproduce

# %%
results.origin()
