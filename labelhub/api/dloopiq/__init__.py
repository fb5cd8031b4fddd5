"""DLoopIQ: what a buyer of labels asks for, POST /api/v1/tasks, and what he takes home, GET /api/v1/exports.

https://dloopiq.onrender.com/docs

A task is a Task, its id the uid; `maxCents` and `costCents` wait in its metadata. A buyer's own tasks are those of the
projects in which he may export. What is asked for without a `projectId` goes to a project of his own for its type.
Choices the contract leaves open: only its six formats, all names as it writes them; a parameter it does not know is
refused, for a misspelt filter would export what was not meant; rows come in the order they were asked for.
"""
