"""What only tests need: strategies, a stage, scripted plugins."""
