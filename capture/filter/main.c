/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-filter's process: nothing but the call, so that tests link what ships (tool.c).
 */
#include "capture/filter/tool.h"

int main(int argc, char **argv)
{
	return flt_tool(argc, argv);
}
