"""Pure decisions: which offset may be committed, what may start next, when a partition is paused. No clock, no thread,
no I/O, no logging, no random: time and chance come in as arguments."""
