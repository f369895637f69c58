/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens-then-drops. Says which capabilities are missing before anything fails half way, chooses the user to
 * become, and gives everything up: no_new_privs, supplementary groups, group, user, bounding set, ambient
 * set, capabilities.
 * The kernel's own calls instead of libcap: five of them, and no further library in a privileged process.
 *
 * Which capability for what (Linux 5.8 and later, checked against 6.18):
 *   CAP_NET_RAW    AF_PACKET and AF_XDP sockets (in the link's network namespace)
 *   CAP_NET_ADMIN  loading and attaching an XDP program, hardware time stamps, busy polling
 *   CAP_BPF        maps and programs beyond the unprivileged few
 *   CAP_IPC_LOCK   wanted, not needed: UMEM and registered buffers beyond RLIMIT_MEMLOCK
 *   CAP_PERFMON    the mirror program: without it the verifier refuses pointers of varying offset in the ring
 *
 * Never grants anything, never touches files, never runs after the threads have started. Control thread.
 */
#include "capture/priv.h"

#include "common/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BIT(c) (1ull << (c))
#define MAX_GROUPS 256

static const struct {
	int bit;
	const char *name;
} cap_table[] = {
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE" },
	{ CAP_IPC_LOCK, "CAP_IPC_LOCK" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_NET_RAW, "CAP_NET_RAW" },
	{ CAP_PERFMON, "CAP_PERFMON" },
	{ CAP_SETGID, "CAP_SETGID" },
	{ CAP_SETUID, "CAP_SETUID" },
};

static int get_caps(uint64_t *ret_effective, uint64_t *ret_permitted)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	*ret_effective = data[0].effective | (uint64_t)data[1].effective << 32;
	*ret_permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

/* Permitted = effective = set, inheritable empty. */
static int set_caps(uint64_t set)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = (uint32_t)set, .permitted = (uint32_t)set },
		{ .effective = (uint32_t)(set >> 32), .permitted = (uint32_t)(set >> 32) },
	};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

uint64_t cap_priv_needed(enum cap_source_kind kind)
{
	switch (kind) {
	case CAP_SOURCE_XDP:
		return BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN) | BIT(CAP_BPF);
	case CAP_SOURCE_MIRROR:
		/*
		 * CAP_NET_RAW: promiscuous mode is held by a packet socket, so that it ends with the process
		 */
		return BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN) | BIT(CAP_BPF) | BIT(CAP_PERFMON);
	case CAP_SOURCE_AUTO: /* falls back as far as afpacket */
	case CAP_SOURCE_AFPACKET:
		return BIT(CAP_NET_RAW);
	case CAP_SOURCE_FILE:
	case CAP_SOURCE_STREAM:
		break;
	}
	return 0;
}

uint64_t cap_priv_missing(uint64_t set)
{
	uint64_t effective = 0, permitted = 0;

	return get_caps(&effective, &permitted) < 0 ? set : set & ~effective;
}

static bool has_cap(int cap)
{
	return cap_priv_missing(BIT(cap)) == 0;
}

static const char *join_names(uint64_t set, const char *sep, bool lower, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(cap_table); i++) {
		if (!(set & BIT(cap_table[i].bit)))
			continue;
		int n = snprintf(buf + at, size - at, "%s%s", at ? sep : "", cap_table[i].name);
		if (n < 0 || (size_t)n >= size - at)
			break;
		at += (size_t)n;
	}
	for (char *c = buf; lower && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
	return buf;
}

const char *cap_priv_names(uint64_t set, char *buf, size_t size)
{
	return join_names(set, ", ", false, buf, size);
}

static const char *kind_name(enum cap_source_kind kind)
{
	switch (kind) {
	case CAP_SOURCE_XDP:
		return "XDP";
	case CAP_SOURCE_MIRROR:
		return "mirror";
	default:
		return "packet";
	}
}

int cap_priv_require(enum cap_source_kind kind, struct skep_err *err)
{
	uint64_t needed = cap_priv_needed(kind), missing = cap_priv_missing(needed);
	char names[160], grant[160], exe[256];
	ssize_t n;

	if (!missing)
		return 0;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	/* With XDP the source will lock memory; with "auto" the better sources are worth having. */
	if (kind == CAP_SOURCE_AUTO)
		needed = cap_priv_needed(CAP_SOURCE_XDP) | cap_priv_needed(CAP_SOURCE_MIRROR);
	(void)skep_err_set(err, SKEP_E_PRIVILEGE, "not allowed to open a %s source: %s missing", kind_name(kind),
			   cap_priv_names(missing, names, sizeof(names)));
	(void)skep_err_hint(err, "run it with sudo, or once: sudo setcap %s=ep %s",
			    join_names(needed | BIT(CAP_IPC_LOCK), ",", true, grant, sizeof(grant)),
			    exe[0] ? exe : "skep-capture");
	return SKEP_E_PRIVILEGE;
}

/* ---- whom to become ---- */

static void plan_user(struct cap_priv_plan *plan, const struct passwd *pw, uid_t uid, gid_t gid,
		      const char *why)
{
	plan->uid = uid;
	plan->gid = pw ? pw->pw_gid : gid;
	if (pw)
		(void)snprintf(plan->user, sizeof(plan->user), "%s", pw->pw_name);
	else
		(void)snprintf(plan->user, sizeof(plan->user), "uid %u", (unsigned int)uid);
	(void)snprintf(plan->why, sizeof(plan->why), "%s", why);
}

static int plan_named(const char *user, struct cap_priv_plan *plan, struct skep_err *err)
{
	const struct passwd *pw = getpwnam(user);
	uint64_t uid = 0;

	/* 2^32 - 1 means "leave it" to setresuid. */
	if (!pw && skep_parse_uint("--user", user, 0, UINT32_MAX - 1, &uid, NULL) == 0)
		pw = getpwuid((uid_t)uid);
	if (!pw) {
		(void)skep_err_set(err, SKEP_E_NOT_FOUND, "--user %s: there is no such user", user);
		return skep_err_hint(err, "name one of `getent passwd`, or leave --user out"), SKEP_E_NOT_FOUND;
	}
	if (pw->pw_uid == 0) {
		(void)skep_err_set(err, SKEP_E_USAGE, "--user %s: that is root, and nothing would be given up", user);
		return skep_err_hint(err, "name another user, or leave --user out"), SKEP_E_USAGE;
	}
	plan_user(plan, pw, pw->pw_uid, pw->pw_gid, "--user");
	return 0;
}

static bool plan_sudo(struct cap_priv_plan *plan)
{
	const char *uid_text = getenv("SUDO_UID"), *gid_text = getenv("SUDO_GID");
	uint64_t uid, gid;

	if (!uid_text || !gid_text || skep_parse_uint("SUDO_UID", uid_text, 1, UINT32_MAX - 1, &uid, NULL) ||
	    skep_parse_uint("SUDO_GID", gid_text, 1, UINT32_MAX - 1, &gid, NULL))
		return false;
	plan_user(plan, getpwuid((uid_t)uid), (uid_t)uid, (gid_t)gid, "the user who called sudo");
	return true;
}

static int plan_choose(const struct cap_priv_cfg *cfg, const struct stat *dir, struct cap_priv_plan *plan,
		       struct skep_err *err)
{
	const struct passwd *pw;

	if (cfg->user)
		return plan_named(cfg->user, plan, err);
	if (dir && dir->st_uid != 0) {
		plan_user(plan, getpwuid(dir->st_uid), dir->st_uid, dir->st_gid, "owner of the output directory");
		return 0;
	}
	if (plan_sudo(plan))
		return 0;
	pw = getpwnam("skep");
	if (pw && pw->pw_uid != 0) {
		plan_user(plan, pw, pw->pw_uid, pw->pw_gid, "the service user");
		return 0;
	}
	pw = getpwnam("nobody");
	/* 65534 is "nobody" to the kernel too (overflowuid). */
	plan_user(plan, pw, pw ? pw->pw_uid : 65534, 65534, "there is no user skep");
	return 0;
}

static int become(const struct cap_priv_plan *plan)
{
	if (setgroups(plan->add_group ? 1 : 0, &plan->group) < 0 ||
	    setresgid(plan->gid, plan->gid, plan->gid) < 0 || setresuid(plan->uid, plan->uid, plan->uid) < 0)
		return -errno;
	return 0;
}

/*
 * 0, or the -errno that the plan's user meets in the directory. Asked by a child, so that ACLs and mount
 * options count too.
 */
static int try_directory(const struct cap_priv_plan *plan, const char *dir)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int r = plan->change_user ? become(plan) : 0;

		if (r == 0 && set_caps(plan->keep_dac_override ? BIT(CAP_DAC_OVERRIDE) : 0) < 0)
			r = -errno;
		if (r == 0 && faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0)
			r = -errno;
		_exit(-r & 0xff); /* errno values are below 134 */
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static bool in_group(const struct cap_priv_plan *plan, gid_t group)
{
	gid_t groups[MAX_GROUPS];
	int n = MAX_GROUPS;

	if (getgrouplist(plan->user, plan->gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* Least first: the bare user; the directory's group if it is the user's; then CAP_DAC_OVERRIDE. */
static int plan_directory(const char *dir, const struct stat *st, struct cap_priv_plan *plan,
			  struct skep_err *err)
{
	int r = try_directory(plan, dir);

	if (r == -EACCES && plan->change_user && in_group(plan, st->st_gid)) {
		plan->add_group = true;
		plan->group = st->st_gid;
		r = try_directory(plan, dir);
		plan->add_group = r == 0;
	}
	if (r == -EACCES && has_cap(CAP_DAC_OVERRIDE)) {
		plan->keep_dac_override = true;
		r = plan->change_user ? 0 : try_directory(plan, dir);
	}
	if (r == 0)
		return 0;
	(void)skep_err_set(err, r == -EACCES ? SKEP_E_PRIVILEGE : r, "%s: not writable for %s: %s", dir, plan->user,
			   strerror(-r));
	(void)skep_err_hint(err, "write elsewhere, or give %s the directory, or name a user who may write it with --user",
			    plan->user);
	return r == -EACCES ? SKEP_E_PRIVILEGE : r;
}

/*
 * In a directory with the sticky bit (/tmp) only its owner replaces a file; CAP_DAC_OVERRIDE would not help.
 */
static int plan_file(const struct cap_priv_cfg *cfg, const struct stat *dir, const struct cap_priv_plan *plan,
		     struct skep_err *err)
{
	struct stat st;

	if (!cfg->out_file || lstat(cfg->out_file, &st) < 0 || !(dir->st_mode & S_ISVTX) ||
	    st.st_uid == plan->uid || dir->st_uid == plan->uid)
		return 0;
	(void)skep_err_set(err, SKEP_E_PRIVILEGE, "%s: exists, belongs to another user, and %s would have to replace it",
			   cfg->out_file, plan->user);
	(void)skep_err_hint(err, "remove it, choose another name, or name its owner with --user");
	return SKEP_E_PRIVILEGE;
}

int cap_priv_plan(const struct cap_priv_cfg *cfg, struct cap_priv_plan *ret, struct skep_err *err)
{
	struct cap_priv_plan plan = { .change_user = geteuid() == 0 || cfg->user };
	struct stat st;
	int r;

	if (cfg->out_dir && (stat(cfg->out_dir, &st) < 0 || !S_ISDIR(st.st_mode))) {
		(void)skep_err_set(err, SKEP_E_NOT_FOUND, "%s: no such directory", cfg->out_dir);
		return skep_err_hint(err, "make it first: mkdir -p %s", cfg->out_dir), SKEP_E_NOT_FOUND;
	}
	if (plan.change_user && cap_priv_missing(BIT(CAP_SETUID) | BIT(CAP_SETGID))) {
		if (geteuid() != 0 && cfg->user) {
			(void)skep_err_set(err, SKEP_E_PRIVILEGE, "--user %s: only root can become another user", cfg->user);
			return skep_err_hint(err, "leave --user out, or run it with sudo"), SKEP_E_PRIVILEGE;
		}
		plan.change_user =
			false; /* root of a container without the right to change: loses its capabilities */
	}
	if (plan.change_user) {
		r = plan_choose(cfg, cfg->out_dir ? &st : NULL, &plan, err);
		if (r)
			return r;
	} else {
		plan_user(&plan, getpwuid(geteuid()), geteuid(), getegid(), "not started as root");
		plan.gid = getegid();
	}
	r = cfg->out_dir ? plan_directory(cfg->out_dir, &st, &plan, err) : 0;
	if (r == 0 && cfg->out_dir)
		r = plan_file(cfg, &st, &plan, err);
	if (r == 0)
		*ret = plan;
	return r;
}

const char *cap_priv_describe(const struct cap_priv_plan *plan, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s %s (%s), %s", plan->change_user ? "becomes" : "stays", plan->user, plan->why,
		       plan->keep_dac_override ? "keeps CAP_DAC_OVERRIDE to write the output directory, drops the rest" :
						 "drops every capability");
	return buf;
}

/* ---- the way down ---- */

static int drop_bounding(uint64_t keep)
{
	/* Without CAP_SETPCAP (file capabilities) the set stays; no_new_privs already makes it worthless. */
	for (int c = 0; c <= 63; c++) {
		int r = prctl(PR_CAPBSET_READ, c, 0, 0, 0);

		if (r < 0)
			break; /* past the last capability of this kernel */
		if (r == 1 && !(keep & BIT(c)) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return errno == EPERM ? 0 : -errno;
	}
	return 0;
}

static int drop_all(const struct cap_priv_plan *plan, uint64_t keep)
{
	const struct rlimit lock = { RLIM_INFINITY, RLIM_INFINITY };
	int r;

	/*
	 * Rings of a lane that starts later are charged to this limit. Not fatal: most systems refuse it to
	 * root too.
	 */
	(void)setrlimit(RLIMIT_MEMLOCK, &lock);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) < 0)
		return -errno;
	r = drop_bounding(keep);
	if (r == 0 && plan->change_user)
		r = become(plan);
	if (r == 0)
		r = set_caps(keep);
	if (r == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

/* What must not work any more, tried. NULL, or the name of what still works. */
static const char *way_back(const struct cap_priv_plan *plan, uint64_t keep)
{
	uint64_t effective = 0, permitted = 0;
	int fd;

	if (get_caps(&effective, &permitted) < 0 || permitted != keep || (effective & ~keep))
		return "a capability is left";
	if (set_caps(~0ull >> (63 - CAP_LAST_CAP)) == 0)
		return "capabilities come back";
	if (plan->change_user &&
	    (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0 || setgroups(0, NULL) == 0))
		return "root comes back";
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		close(fd);
		return "raw sockets can be opened";
	}
	return NULL;
}

int cap_priv_drop(const struct cap_priv_plan *plan, struct skep_err *err)
{
	uint64_t keep = plan->keep_dac_override ? BIT(CAP_DAC_OVERRIDE) : 0;
	const char *left;
	int r = drop_all(plan, keep);

	if (r < 0)
		return skep_err_set(err, r, "cannot drop privileges to %s: %s", plan->user, strerror(-r));
	left = way_back(plan, keep);
	if (left)
		return skep_err_set(err, -EPERM, "dropping privileges to %s did not hold: %s", plan->user, left);
	return 0;
}
