"""What a timeline shows of personas that act: steps, cards that ask people, steering, rounds."""
