/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of presets. A preset is text that libpcap compiles: what is printed is what runs. Where
 * pcap-filter(7) has no words it is a mark of the look stage.
 * pcap-filter(7)'s tcp[] and udp[] read IPv4 only, so looks into payload are written twice; IPv6 extension
 * headers are not followed. Immutable; any thread.
 */
#include "capture/filter/preset.h"

#include "capture/filter/view.h"

#include "bpf/abi/skep_quic.h"
#include "common/util.h"

#include <string.h>

/* Where the payload of a TCP segment begins, and a test of its first bytes for IPv4 and IPv6. */
#define T4 "((tcp[12] & 0xf0) >> 2)"
#define T6 "(40 + ((ip6[52] & 0xf0) >> 2))"
#define TCP_BEGINS(test4, test6) "(" test4 ") or (ip6 proto 6 and (" test6 "))"
#define TCP_WORD(hex) TCP_BEGINS("tcp[" T4 ":4] = " hex, "ip6[" T6 ":4] = " hex)

/* clang-format off */
static const struct flt_preset presets[] = {
	{ "bgp", "tcp port 179", "TCP with source or destination port 179", "" },
	{ "dhcp", "udp port 67 or udp port 68 or udp port 546 or udp port 547", "UDP ports 67 and 68 (DHCP), 546 and 547 (DHCPv6)", "" },
	{ "dns", "udp port 53 or tcp port 53", "UDP and TCP with source or destination port 53",
		"DNS on other ports, later fragments, and encrypted DNS (dot, doq, doh)" },
	{ "doh",
		"(tcp port 443 or udp port 443) and (host 1.1.1.1 or 1.0.0.1 or 8.8.8.8 or 8.8.4.4 or 9.9.9.9 or 149.112.112.112 or "
		"208.67.222.222 or 208.67.220.220 or 94.140.14.14 or 94.140.15.15 or host 2606:4700:4700::1111 or "
		"host 2606:4700:4700::1001 or host 2001:4860:4860::8888 or host 2001:4860:4860::8844 or host 2620:fe::fe or "
		"host 2620:fe::9)",
		"TCP and UDP port 443 to or from the public resolvers of Cloudflare, Google, Quad9, OpenDNS and AdGuard",
		"DNS over HTTPS looks like any HTTPS: other resolvers are missed, other HTTPS of these addresses is taken" },
	{ "doq", "udp port 853", "UDP port 853 (DNS over QUIC)", "DNS over QUIC on other ports" },
	{ "dot", "tcp port 853", "TCP port 853 (DNS over TLS)", "DNS over TLS on other ports" },
	{ "http",
		"tcp port 80 or tcp port 8080 or " TCP_WORD("0x47455420") " or " TCP_WORD("0x504f5354") " or " TCP_WORD("0x48454144") " or "
		TCP_WORD("0x50555420") " or " TCP_WORD("0x48545450"),
		"everything on TCP ports 80 and 8080; on other ports the TCP segments that begin with GET, POST, HEAD, PUT or HTTP",
		"on other ports the segments after the first of a message, and bare acknowledgements; HTTP/2 and HTTP/3" },
	{ "mdns", "udp port 5353", "UDP port 5353", "" },
	{ "ntp", "udp port 123", "UDP port 123", "" },
	{ "quic", "",
		"UDP on any port of every flow that has shown a QUIC long header (form and fixed bit; version 1, 2, draft 22 to 34, "
		"reserved 0x?a?a?a?a, or version negotiation; mvfst; Google's Q046, Q050, T050, T051; connection IDs of at most 20 bytes "
		"that fit): that packet and all after it, both ways, whatever their first byte",
		"a flow whose handshake was not seen (the capture began later, or it moved to another address or port); Google's versions "
		"before Q046; IP fragments but the first; VLAN tags and tunnels. The 65,536 flows that spoke last are remembered. Other UDP "
		"shows such a header by chance once in some 40 million packets of random bytes", SKEP_MARK_QUIC },
	{ "rtcp",
		"(udp[8] & 0xc0 = 0x80 and udp[9] >= 200 and udp[9] <= 207) or "
		"(ip6 proto 17 and ip6[48] & 0xc0 = 0x80 and ip6[49] >= 200 and ip6[49] <= 207)",
		"UDP whose payload begins with RTP version 2 and packet type 200 to 207 (RFC 3550)",
		"a guess from two bytes: other UDP can look the same" },
	{ "rtp",
		"(udp[8] & 0xc0 = 0x80 and udp[4:2] >= 20 and (udp[9] & 0x7f < 35 or udp[9] & 0x7f > 95) and udp[0:2] > 1023 and "
		"udp[2:2] > 1023) or (ip6 proto 17 and ip6[48] & 0xc0 = 0x80 and ip6[44:2] >= 20 and (ip6[49] & 0x7f < 35 or "
		"ip6[49] & 0x7f > 95) and ip6[40:2] > 1023 and ip6[42:2] > 1023)",
		"UDP between ports above 1023 whose payload has 12 bytes or more, RTP version 2 and an audio, video or dynamic payload type",
		"a guess from two bytes (RTP has no port and no mark): other UDP can look the same; RTP inside TURN or TCP is missed" },
	{ "sip", "port 5060 or tcp port 5061", "TCP, UDP and SCTP port 5060, TCP port 5061", "SIP on other ports" },
	{ "snmp", "udp port 161 or udp port 162", "UDP ports 161 and 162", "" },
	{ "ssh", "tcp port 22 or " TCP_WORD("0x5353482d"),
		"everything on TCP port 22; on other ports the TCP segments that begin with \"SSH-\"",
		"on other ports everything after the greeting" },
	{ "stun", "udp[12:4] = 0x2112a442 or (ip6 proto 17 and ip6[52:4] = 0x2112a442)",
		"UDP whose payload has STUN's magic cookie at byte 4 (RFC 8489)", "STUN over TCP, and channel data of TURN" },
	{ "tls",
		"tcp port 443 or tcp port 465 or tcp port 636 or tcp port 853 or tcp port 990 or tcp port 993 or tcp port 995 or "
		"tcp port 5061 or tcp port 8443 or tcp port 8883 or " TCP_BEGINS("tcp[" T4 ":2] & 0xfcff = 0x1403 and tcp[" T4 " + 2] <= 4",
			"ip6[" T6 ":2] & 0xfcff = 0x1403 and ip6[" T6 " + 2] <= 4"),
		"everything on TCP ports 443, 465, 636, 853, 990, 993, 995, 5061, 8443, 8883; on other ports the TCP segments that begin "
		"with a TLS record (type 20 to 23, version 3.0 to 3.4)",
		"on other ports the segments in the middle of a record, and bare acknowledgements; DTLS and QUIC" },
	{ "wireguard",
		"(udp[8:4] = 0x01000000 and udp[4:2] = 156) or (udp[8:4] = 0x02000000 and udp[4:2] = 100) or "
		"(udp[8:4] = 0x03000000 and udp[4:2] = 72) or (udp[8:4] = 0x04000000 and udp[4:2] >= 40 and udp[4:2] & 15 = 8) or "
		"(ip6 proto 17 and ((ip6[48:4] = 0x01000000 and ip6[44:2] = 156) or (ip6[48:4] = 0x02000000 and ip6[44:2] = 100) or "
		"(ip6[48:4] = 0x03000000 and ip6[44:2] = 72) or (ip6[48:4] = 0x04000000 and ip6[44:2] >= 40 and ip6[44:2] & 15 = 8)))",
		"UDP on any port whose payload has the type and the length of a WireGuard handshake (148, 92 or 64 bytes) or data message",
		"WireGuard behind obfuscation" },
};
/* clang-format on */

const struct flt_preset *flt_preset_find(const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(presets); i++)
		if (strlen(presets[i].name) == len && memcmp(presets[i].name, word, len) == 0)
			return &presets[i];
	return NULL;
}

const struct flt_preset *flt_preset_at(size_t i)
{
	return i < ARRAY_LEN(presets) ? &presets[i] : NULL;
}
