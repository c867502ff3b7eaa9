"""Tests of declaring, invoking and publishing, over small fakes of the ports."""
