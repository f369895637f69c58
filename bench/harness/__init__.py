# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark's harness: standard library only, so that it runs wherever the programs do."""
