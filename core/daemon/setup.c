/*
 * setup.c - what a daemon does with the machine before it serves: directories,
 * descriptor limit, user, background.
 *
 * All on the main thread before any other thread exists (capabilities are per
 * thread).  Started as root, the directories that mail and logs go to are made
 * and given to run_as_user, and /service is made a link where that is the place of the
 * services and it does not exist; then root is given up for good; of its powers only
 * the one to bind ports below 1024 is kept, so that a reload can open port 25.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/daemon.h"
#include "module/log.h"

/* Where the manuals of daemontools, and ours, say that services are; and whose it may be. */
#define SERVICE_LINK "/service"
#define SERVICE_LINK_TO "/var/hvmail/service"

static void
complain(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", gac_daemon.program, what, why);
}

/* --- directories --- */

/* Made when missing (its parent must be there); must be a directory we can write in. */
static bool
writable_directory(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		if (geteuid() == 0 && gac_daemon.uid != 0 &&
		    chown(path, gac_daemon.uid, gac_daemon.gid) != 0) {
			complain(path, strerror(errno));
			return false;
		}
	} else if (errno != EEXIST) {
		complain(path, strerror(errno));
		return false;
	}
	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		complain(path, "is not a directory");
		return false;
	}
	if (geteuid() == 0 && gac_daemon.uid != 0 && st.st_uid == 0 &&
	    chown(path, gac_daemon.uid, gac_daemon.gid) != 0) {
		complain(path, strerror(errno));
		return false;
	}
	return true;
}

static bool
find_user(const struct gac_core_conf *conf)
{
	struct passwd *pw;
	struct group *gr = getgrnam("greenarrow");
	const char *name = conf->run_as_user.p;

	gac_daemon.uid = geteuid();
	gac_daemon.gid = getegid();
	if (conf->run_as_user.n == 0 || geteuid() != 0)
		return true;
	pw = getpwnam(name);
	if (pw == NULL) {
		complain("run_as_user", "there is no such user");
		return false;
	}
	gac_daemon.uid = pw->pw_uid;
	gac_daemon.gid = gr != NULL && pw->pw_uid != 0 ? gr->gr_gid : pw->pw_gid;
	return true;
}

bool
gac_setup_paths(const struct gac_core_conf *conf)
{
	const struct ga_str path[] = {
		[GA_PATH_QUEUE] = conf->queue_directory, [GA_PATH_LOG] = conf->log_directory,
		[GA_PATH_RUN] = conf->run_directory, [GA_PATH_CONTROL] = conf->control_directory,
		[GA_PATH_MODULE] = conf->module_directory, [GA_PATH_SERVICE] = conf->service_directory
	};

	for (int i = 0; i <= GA_PATH_SERVICE; i++)
		gac_daemon.paths[i] = strndup(path[i].p != NULL ? path[i].p : "", path[i].n);
	return asprintf(&gac_daemon.control_socket, "%s/control.sock",
	    gac_daemon.paths[GA_PATH_RUN]) >= 0;
}

void
gac_setup_link(const char *link, const char *to)
{
	if (symlink(to, link) == 0)
		gac_log(GA_NOTICE, "core", "GA-CORE-0002", "%s is a link to %s from now on", link, to);
	else if (errno != EEXIST)
		gac_log(GA_WARN, "core", "GA-CORE-0003", "%s cannot be made a link to %s: %s", link, to, strerror(errno));
}

static bool
service_directory(const char *path)
{
	if (!writable_directory(path, 0755))
		return false;
	/* of several installations on a machine only the one at the default prefix may have it */
	if (geteuid() == 0 && strcmp(path, SERVICE_LINK_TO) == 0)
		gac_setup_link(SERVICE_LINK, path);
	return true;
}

bool
gac_setup_directories(const struct gac_core_conf *conf, bool services)
{
	return gac_setup_paths(conf) && find_user(conf) &&
	    writable_directory(gac_daemon.paths[GA_PATH_QUEUE], 0700) &&
	    writable_directory(gac_daemon.paths[GA_PATH_LOG], 0755) &&
	    writable_directory(gac_daemon.paths[GA_PATH_RUN], 0755) &&
	    (!services || service_directory(gac_daemon.paths[GA_PATH_SERVICE]));
}

/* --- limits and user --- */

void
gac_setup_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool
keep_only_bind(void)
{
	cap_t caps = cap_init();
	cap_value_t bind = CAP_NET_BIND_SERVICE;
	bool good = caps != NULL &&
	    cap_set_flag(caps, CAP_PERMITTED, 1, &bind, CAP_SET) == 0 &&
	    cap_set_flag(caps, CAP_EFFECTIVE, 1, &bind, CAP_SET) == 0 &&
	    cap_set_proc(caps) == 0;

	if (caps != NULL)
		cap_free(caps);
	return good;
}

/* We must be able to write where we will write: said now, not at the first mail. */
static bool
can_write(const char *path)
{
	if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0)
		return true;
	complain(path, errno == EACCES ? "is not writable" : strerror(errno));
	return false;
}

bool
gac_setup_user(const struct gac_core_conf *conf)
{
	if (geteuid() == 0 && gac_daemon.uid == 0)
		fprintf(stderr, "%s: warning: running as root: set run_as_user\n", gac_daemon.program);
	if (geteuid() == 0 && gac_daemon.uid != 0) {
		char *name = strndup(conf->run_as_user.p, conf->run_as_user.n);
		bool good = prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == 0 &&
		    initgroups(name, gac_daemon.gid) == 0 &&
		    setresgid(gac_daemon.gid, gac_daemon.gid, gac_daemon.gid) == 0 &&
		    setresuid(gac_daemon.uid, gac_daemon.uid, gac_daemon.uid) == 0 &&
		    keep_only_bind();

		free(name);
		if (!good) {
			complain("run_as_user", strerror(errno));
			return false;
		}
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
	return can_write(gac_daemon.paths[GA_PATH_QUEUE]) && can_write(gac_daemon.paths[GA_PATH_LOG]) &&
	    can_write(gac_daemon.paths[GA_PATH_RUN]);
}

/* --- background --- */

/* The parent stays until the child serves or fails, so that its exit code means something. */
bool
gac_setup_background(void)
{
	int fd[2], null;
	pid_t pid;
	char ok = 1;

	gac_daemon.ready_fd = -1;
	if (gac_daemon.foreground)
		return true;
	if (pipe2(fd, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		complain("fork", strerror(errno));
		return false;
	}
	if (pid > 0) {
		close(fd[1]);
		_exit(read(fd[0], &ok, 1) == 1 ? ok : 1);
	}
	close(fd[0]);
	setsid();
	gac_daemon.ready_fd = fd[1];
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		close(null);
	}
	return chdir("/") == 0;
}

void
gac_setup_ready(void)
{
	char ok = 0;
	int null;

#ifdef HAVE_LIBSYSTEMD
	sd_notify(0, "READY=1");
#endif
	if (gac_daemon.ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (write(gac_daemon.ready_fd, &ok, 1) != 1)
		complain("ready", strerror(errno));
	close(gac_daemon.ready_fd);
	gac_daemon.ready_fd = -1;
	if (null >= 0) {
		dup2(null, STDOUT_FILENO);
		close(null);
	}
}
