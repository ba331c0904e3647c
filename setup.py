from setuptools import setup

setup()  # all of it stands in setup.cfg
