"""Ten rounds of a small team, with everything going wrong that can. In reading order:

start.py     the model that it starts from
team.py      the poisoned batch, besides what the simulated annotators of ``examples.rounds`` submit
studio.py    the rounds that go through a real Label Studio
troubles.py  a killed process and a full disk
__main__.py  the play
outcome.py   what came of it: checked, counted and drawn
"""
