/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_DISASM_H
#define FLT_DISASM_H
/*
 * eBPF as text, for people who want to see what runs.
 */
#include "capture/filter/translate.h"

#include <stddef.h>

/* One instruction of those that flt_translate makes, in the kernel's notation (r0 = *(u16 *)(r6 +12)); jumps
 * name their target. */
void flt_disasm(const struct flt_ebpf *insn, uint32_t at, char *ret, size_t size);

#endif
