"""Archives larger than one machine, replayed in two stages on Ray.

Files of alerts enter; the classifications that one process would write leave. Stage 1 decodes and embeds each file by
itself; what belongs to one object is then brought together, and stage 2 classifies it in order of time. Stages are
plain functions of files; only ``run`` knows Ray.
"""
