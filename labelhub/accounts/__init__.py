"""Who people and programs are: users, access keys, project roles, and the record of what they changed."""
