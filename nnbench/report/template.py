# %% [markdown]
# # Comparison of optimizers and activations

# %%
# %config InlineBackend.figure_formats = ["svg"]
from nnbench.report import figures
from nnbench.report.results import load

results = load("parameters.json")
results.verdict()

# %% [markdown]
# ## Leaderboard
# Mean over seeds with the 95 % bootstrap interval of the mean. Diverged seeds count as chance level.

# %%
results.leaderboard()

# %%
figures.accuracies(results)

# %% [markdown]
# ## Optimizers and activations
# Mean test accuracy ± half of its 95 % interval. Solid frame: the best; dashed: what it cannot be told apart from.

# %%
figures.heatmap(results)

# %% [markdown]
# ## Learning curves
# The mean over all seeds of each cell; the band is one standard deviation.

# %%
figures.learning_curves(results, "val/accuracy")

# %%
figures.learning_curves(results, "train/loss")

# %%
figures.learning_curves(results, "val/accuracy", against="time/train_seconds")

# %% [markdown]
# ## Time to target

# %%
figures.time_to_target(results)

# %% [markdown]
# ## What tuning chose, and its price
# Chosen by validation accuracy on tuning seeds; the scores beside it are from fresh seeds, tuned and untuned alike.

# %%
results.price_of_tuning()

# %%
figures.price_of_tuning(results)

# %%
figures.learning_rates(results)

# %% [markdown]
# ## Paired comparisons
# The leader and each other cell on equal seeds: exact sign-flip test, corrected for all pairs of cells. Equivalent is
# within half a point. `results.comparisons("CELL")` has those of another cell, `results.pairs("DATASET")` all.

# %%
results.comparisons()

# %%
figures.differences(results)

# %%
figures.ranks(results)

# %% [markdown]
# ## Confusion matrix of the best cell
# Test split, all seeds together. `figures.confusion_matrix(results, "CELL")` draws another cell's.

# %%
figures.confusion_matrix(results)

# %% [markdown]
# ## Gradients, idle units, and what the run doctor says
# Layers of the best cell; `figures.layers(results, "CELL")` draws another's.

# %%
figures.layers(results)

# %%
results.findings()

# %% [markdown]
# ## How to reproduce

# %%
results.origin()
