#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Usage: embed.sh FILE OUT.c NAME
# Writes a C source with the bytes of FILE as NAME[] and their number as NAME_len.
set -e
{
	echo "#include <stddef.h>"
	echo "extern const unsigned char $3[];"
	echo "extern const size_t $3_len;"
	echo "const unsigned char $3[] = {"
	od -An -v -tx1 "$1" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
	echo "};"
	echo "const size_t $3_len = sizeof($3);"
} >"$2"
