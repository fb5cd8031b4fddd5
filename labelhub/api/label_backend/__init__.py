"""label_backend: approved samples become a batch, the batch a fine-tune; five endpoints for administrators.

The contract is that service's specs/001-label-backend-spec/contracts/export.md, of 2026-04-09.

A sample, a batch, a source are named by their row's number. An administrator here is who manages a project, and what he
sees are the projects he manages. The batch is written in the background: a fine-tune that comes before the file waits for
it a while. Times are UTC and say no zone, as the contract's do.
"""
