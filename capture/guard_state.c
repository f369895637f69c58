/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See guard_state.h. A file is replaced by rename, so it is whole or not there. A link that was renamed,
 * deleted or made anew under the same name is not ours any more: name and index must both fit. A value that
 * is not as the engine left it was changed by somebody else meanwhile; as every value is on or off, it is
 * then back where it was, and nothing is left to do. Guard process, and the engine's control thread before
 * the guard is started.
 */
#include "capture/guard_state.h"

#include "capture/ethtool.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* A state file has a few hundred bytes. */
#define STATE_MAX_BYTES 65536u

int cap_guard_engine_of(pid_t pid, struct cap_guard_engine *ret)
{
	struct cap_guard_engine e = { .pid = pid };
	unsigned long long start = 0;
	char path[64], line[1024], *p;
	bool ok = false;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	/* Behind the name, which may hold anything, also newlines: state is field 3, start field 22. */
	line[fread(line, 1, sizeof(line) - 1, f)] = '\0';
	if ((p = strrchr(line, ')')))
		ok = sscanf(p + 1,
			    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
			    "%llu",
			    &start) == 1 &&
		     p[2] != 'Z' && p[2] != 'X';
	(void)fclose(f);
	if (!ok)
		return -ESRCH;
	e.start = start;
	f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (f && fgets(e.boot, sizeof(e.boot), f))
		e.boot[strcspn(e.boot, "\n")] = '\0';
	if (f)
		(void)fclose(f);
	*ret = e;
	return 0;
}

bool cap_guard_engine_alive(const struct cap_guard_engine *e)
{
	struct cap_guard_engine now;

	return cap_guard_engine_of(e->pid, &now) == 0 && now.start == e->start &&
	       strcmp(now.boot, e->boot) == 0;
}

void cap_guard_state_path(const struct cap_guard_state *s, char *ret, size_t size)
{
	(void)snprintf(ret, size, "link-%llu-%s.json", (unsigned long long)s->netns, s->link);
}

int cap_guard_state_write(int dir_fd, const struct cap_guard_state *s, struct skep_err *err)
{
	_skep_json_ json_t *changes = json_array(), *all = NULL;
	char path[96], part[104];
	int r = -ENOMEM;

	_skep_close_ int fd = -1;
	for (uint32_t i = 0; i < s->n; i++)
		(void)json_array_append_new(changes,
					    json_pack("{s:s, s:b, s:b}", "feature", s->changes[i].feature,
						      "was", s->changes[i].was, "set", s->changes[i].set));
	all = json_pack("{s:i, s:i, s:I, s:s, s:I, s:s, s:i, s:O}", "version", 1, "pid", (int)s->engine.pid,
			"start", (json_int_t)s->engine.start, "boot", s->engine.boot, "netns",
			(json_int_t)s->netns, "link", s->link, "ifindex", s->ifindex, "offloads", changes);
	cap_guard_state_path(s, path, sizeof(path));
	(void)snprintf(part, sizeof(part), "%s.part", path);
	if (all) {
		fd = openat(dir_fd, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		r = fd < 0 ? -errno : json_dumpfd(all, fd, JSON_INDENT(1)) < 0 ? -EIO : 0;
	}
	if (r == 0 && renameat(dir_fd, part, dir_fd, path) < 0)
		r = -errno;
	return r < 0 ? skep_err_set(err, r, "writing the state file %s: %s", path, strerror(-r)) : 0;
}

static int unpack(const json_t *j, struct cap_guard_state *s)
{
	const char *boot, *link, *feature;
	json_int_t start, netns;
	json_t *changes, *c;
	int version, pid, was, set;
	size_t i;

	if (json_unpack((json_t *)j, "{s:i, s:i, s:I, s:s, s:I, s:s, s:i, s:o}", "version", &version, "pid",
			&pid, "start", &start, "boot", &boot, "netns", &netns, "link", &link, "ifindex",
			&s->ifindex, "offloads", &changes) < 0)
		return -EBADMSG;
	if (version != 1 || pid <= 0 || strlen(link) >= sizeof(s->link) || strchr(link, '/') ||
	    !json_is_array(changes) || json_array_size(changes) > CAP_GUARD_CHANGES)
		return -EBADMSG;
	s->engine.pid = pid;
	s->engine.start = (uint64_t)start;
	s->netns = (uint64_t)netns;
	(void)snprintf(s->engine.boot, sizeof(s->engine.boot), "%s", boot);
	(void)snprintf(s->link, sizeof(s->link), "%s", link);
	json_array_foreach(changes, i, c)
	{
		if (json_unpack(c, "{s:s, s:b, s:b}", "feature", &feature, "was", &was, "set", &set) < 0 ||
		    strlen(feature) >= sizeof(s->changes[0].feature))
			return -EBADMSG;
		(void)snprintf(s->changes[i].feature, sizeof(s->changes[i].feature), "%s", feature);
		s->changes[i].was = was;
		s->changes[i].set = set;
		s->n++;
	}
	return 0;
}

int cap_guard_state_read(int dir_fd, const char *path, struct cap_guard_state *ret, struct skep_err *err)
{
	_skep_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_skep_free_ char *text = NULL;
	_skep_json_ json_t *j = NULL;
	struct cap_guard_state s = { 0 };
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT
				       : skep_err_set(err, -errno, "reading the state file %s: %s", path,
						      strerror(errno));
	text = malloc(STATE_MAX_BYTES);
	if (!text)
		return skep_err_set(err, -ENOMEM, "reading the state file %s: out of memory", path);
	n = read(fd, text, STATE_MAX_BYTES);
	if (n <= 0 || skep_json_load(path, text, (size_t)n, &j, err) || unpack(j, &s) < 0) {
		(void)skep_err_set(err, SKEP_E_BAD_DATA, "state file %s: it is not what skep writes", path);
		(void)skep_err_hint(err, "look at the link's offloads (ethtool -k), then remove the file");
		return SKEP_E_BAD_DATA;
	}
	*ret = s;
	return 0;
}

int cap_guard_state_undo(int ioctl_fd, const struct cap_guard_state *s, char *said, size_t size)
{
	int result = 0;

	if ((int)if_nametoindex(s->link) != s->ifindex) /* gone, or another link of that name */
		return 0;
	for (uint32_t i = s->n; i-- > 0;) {
		const struct cap_guard_change *c = &s->changes[i];
		const char *feature = c->feature;
		struct cap_ethtool_feature now;
		int r = cap_ethtool_features(ioctl_fd, s->link, &feature, 1, &now);

		if (r == 0 && now.wanted == c->was)
			continue; /* never done, or undone already */
		if (r == 0)
			r = cap_ethtool_feature_set(ioctl_fd, s->link, feature, c->was);
		if (r < 0 && r != -ENODEV && r != -EBUSY) {
			size_t at = strlen(said);

			(void)snprintf(said + at, size - at, "%slink %s: %s could not be put back: %s",
				       at ? "; " : "", s->link, feature, strerror(-r));
			result = r;
		}
	}
	return result;
}
