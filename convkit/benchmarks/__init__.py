"""How convkit is measured: the layers, the contenders, and the one way in which everything is timed.

=========  ==================================================================================================
`layers`   a layer as data, and the published ones
`draw`     random layers over kinds and sizes
`problem`  a layer in one direction with its operands, and convkit's calls of it
`peers`    the same call by other libraries, each loaded when it is asked for
`measure`  one layer in one direction: peers checked for agreement, then all timed
`tasks`    the same for what is no layer, named by a script in ``bench/``
`fit`      the planner's costs, fitted to what layers take
`report`   lines, means, quantiles and the worst of what was measured, and what has changed since an earlier run
`picture`  all layers of a run on the roofline
=========  ==================================================================================================

How anything is timed, in short bursts between two probes of the machine's peak, `convkit/_timing.py` says.
`convkit bench` is the command over it; the scripts in ``bench/`` time with it what is no single layer. Nothing here is
imported by the rest of the package but `convkit.cli`.
"""
