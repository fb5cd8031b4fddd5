"""Baidu Qianfan: its dataset management API, V1 under /wenxinworkshop and V2 at /v2/dataset.

https://cloud.baidu.com/doc/WENXINWORKSHOP/s/Vlp6ixw5l

A dataset group is a Project and a dataset version a Dataset (`ds-` and its uid); an entity is a Task, an annotation the
caller's answer. Every call is a POST signed with an access key (signature.py); what went wrong with the request itself is
an HTTP error, what went wrong with its parameters a V1 answer says with HTTP 200, as the official clients expect.
"""
