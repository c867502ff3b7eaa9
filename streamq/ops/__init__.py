"""What an operator does: topics, lag, dead letters, replay, members. Speaks to Kafka through the ports and returns
values; printing them is the command line's."""
