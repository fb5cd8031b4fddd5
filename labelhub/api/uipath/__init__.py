"""UiPath Communications Mining: its dataset routes, and what its command line needs around them.

https://docs.uipath.com/communications-mining/automation-cloud/latest/developer-guide/datasets

A comment is a Task: its id is the external id, its subject and bodies the content, and what must go back out unchanged
stands in the metadata. Labels assigned through this room are the answers of the caller; projects made through it are
MULTI_LABEL and take one answer. Labels belong to the project; a dataset keeps which of them it shows.
"""
