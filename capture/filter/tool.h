/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_TOOL_H
#define FLT_TOOL_H
/* The program skep-filter. */

/* main() without the process: returns the exit code. */
int flt_tool(int argc, char **argv);

#endif
