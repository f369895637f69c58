# SPDX-License-Identifier: BSD-2-Clause
"""skep: asks a hive for captures, and fetches them.

    from skep import Hive
    hive = Hive("https://hive.example.net:8480", token)
    job = hive.wait(hive.create_job("alarm", ["uplink"], filter="host 192.0.2.1", duration="10m"))
    hive.download(job, ".")
"""
from .errors import (BusyError, ChangedError, ConflictError, DamagedError, ForbiddenError, HiveError, InvalidError, JobFailedError,
                     LoginError, NotFoundError, Problem, RefusedError, SkepError, UnreachableError, UntrustedError, UsageError,
                     WaitTimeoutError)
from .events import Event
from .hive import Hive
from .jobs import job_fields
from .models import AuditEntry, Dataset, File, Filter, Group, Job, JobDetail, JobEvent, JobLink, Link, NewToken, Probe, Token, User
from .transport import VERSION as __version__

__all__ = ["AuditEntry", "BusyError", "ChangedError", "ConflictError", "DamagedError", "Dataset", "Event", "File", "Filter",
           "ForbiddenError", "Group", "Hive", "HiveError", "InvalidError", "Job", "JobDetail", "JobEvent", "JobFailedError", "JobLink",
           "Link", "LoginError", "NewToken", "NotFoundError", "Probe", "Problem", "RefusedError", "SkepError", "Token",
           "UnreachableError", "UntrustedError", "UsageError", "User", "WaitTimeoutError", "__version__", "job_fields"]
