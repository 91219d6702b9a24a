"""Virtual shoppers of Verse, playing known scenarios against the real HTTP endpoint."""
