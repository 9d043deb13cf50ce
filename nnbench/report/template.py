# %% [markdown]
# # Comparison of optimizers and activations
# Every number comes from the MLflow store. To look closer, open `report.ipynb`, change a call and run it again.

# %%
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}
from nnbench.report import figures, tables
from nnbench.report.results import load
from nnbench.report.verdict import verdict

results = load("parameters.json")
verdict(results)

# %% [markdown]
# **Words.** A *cell* is one setting, such as adam with relu. It was trained once for each *seed*, of which the initial
# weights, the order of the data, or both are drawn; equal seeds share what they draw in all cells, so cells are
# compared seed by seed. The *stack* is all seeds of a cell, trained together; its time is that of all of them. A
# *95 % interval* shows how far the mean may lie from that of many more seeds. A *point* is one per cent of accuracy.
# *p after Holm* is how easily luck alone makes such a difference in one of so many comparisons; below .05 two cells are
# told apart.

# %% [markdown]
# ## Leaderboard
# Mean over seeds with the 95 % bootstrap interval of the mean. Diverged seeds count as chance level.

# %%
tables.leaderboard(results)

# %%
figures.accuracies(results)

# %% [markdown]
# scikit-learn's models on the same splits, for scale; more on them below.

# %%
tables.baselines(results)

# %% [markdown]
# ## The data
# How many samples each class has in each split and, where the data are images, some of the training split.

# %%
tables.data_sets(results)

# %%
figures.data_sets(results)

# %% [markdown]
# ## Optimizers and activations
# Mean test accuracy ± half of its 95 % interval. Solid frame: the best; dashed: equivalent to it, or not told apart.

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
# When validation first met the target accuracy. A seed that never did counts as infinitely slow.

# %%
tables.time_to_target(results)

# %%
figures.time_to_target(results)

# %%
figures.profile(results)

# %% [markdown]
# ## What tuning chose, and its price
# Chosen by validation accuracy on tuning seeds; the scores beside it are from fresh seeds, tuned and untuned alike.

# %%
tables.price_of_tuning(results)

# %%
figures.price_of_tuning(results)

# %%
figures.learning_rates(results)

# %% [markdown]
# ## Paired comparisons
# The leader and each other cell on equal seeds: exact sign-flip test, corrected for all pairs of cells. Equivalent is
# within half a point. `tables.comparisons(results, "CELL")` has those of another cell, `results.pairs("DATASET")` all.

# %%
tables.comparisons(results)

# %%
figures.differences(results)

# %% [markdown]
# ### What these seeds can show
# Each line has the smallest difference that is found four times out of five. A smaller one is found less often, however
# real it is.

# %%
tables.detectable_differences(results)

# %% [markdown]
# ### Optimizers over all activations, activations over all optimizers
# Each seed's score is the mean over the other of the two. The interquartile mean is that of the middle half of all
# trainings, which no lucky or diverged one can move.

# %%
tables.optimizers(results)

# %%
tables.activations(results)

# %%
figures.interquartile_means(results)

# %%
figures.interquartile_means(results, by="activation")

# %%
figures.ranks(results)

# %% [markdown]
# ### Where the differences come from
# What part of the differences between trainings goes with each choice, with the two together, and with luck: the *seed*
# is what equal seeds have in common in all cells, the *residual* what is left, such as luck of a single training.

# %%
tables.variance_shares(results)

# %%
figures.variance_shares(results)

# %% [markdown]
# ## Confusion matrices
# Test split, all seeds together. `figures.confusion_matrix(results, "CELL")` draws that of any cell.

# %%
figures.confusion(results)

# %% [markdown]
# ## What is missed most often
# In the table by all networks together, with the most frequent mistake; where the data are images, these are drawn, and
# those of the best network.

# %%
figures.missed_images(results)

# %%
tables.missed(results)

# %% [markdown]
# ## Calibration
# A network that is sure to 90 % should be right nine times out of ten. The expected calibration error is the mean gap
# between the two. Drawn are the best networks and the best baseline that has probabilities. A point is a bin of
# confidence, its area the number of samples in it; bins with fewer than five samples for each seed are left out.

# %%
figures.calibration(results)

# %%
tables.calibration(results)

# %% [markdown]
# ## Baselines
# The best network and scikit-learn's models on equal seeds.

# %%
tables.against_baselines(results)

# %%
figures.baselines(results)

# %% [markdown]
# ## Gradients, idle units, and what the run doctor says
# Layers of the best cell, and of the worst one that the doctor has something to say of;
# `figures.layers(results, "CELL")` draws another's.

# %%
figures.layers(results)

# %%
tables.findings(results)

# %% [markdown]
# ## Update rules
# What each optimizer does in a step, and its curves.

# %%
figures.update_rules(results)

# %% [markdown]
# ## How to reproduce
# The same command trains what is missing and skips what is done. A run can be trained again and compared bit for bit.

# %%
tables.coverage(results)

# %%
tables.environment(results)

# %%
tables.runs(results)
