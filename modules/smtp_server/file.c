/*
 * file.c - see file.h.  Called by users.c and environment.c.  What is read may be
 * secret, so no copy of it stays behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

static void
drop(char *text, size_t n)
{
	explicit_bzero(text, n);
	free(text);
}

static char *
grow(char *text, size_t n, size_t room)
{
	char *more = ga_xmalloc(room);

	memcpy(more, text, n);
	drop(text, n);
	return more;
}

/* f->text stays NULL when it fails: f->error. */
static void
read_all(int fd, size_t max, struct smtpd_file *f)
{
	size_t room = 4096, n = 0;
	char *text = ga_xmalloc(room);
	ssize_t r;

	while ((r = read(fd, text + n, room - n - 1)) != 0) {
		if (r < 0 && errno == EINTR)
			continue;
		n += r > 0 ? (size_t)r : 0;
		if (r < 0 || n > max) {
			f->error = r < 0 ? errno : EFBIG;
			drop(text, n);
			return;
		}
		if (n + 1 == room)
			text = grow(text, n, room *= 2);
	}
	f->text = text;
	f->size = n;
}

struct smtpd_file
smtpd_file_read(const char *path, size_t max)
{
	struct smtpd_file f = { .text = NULL };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0)
		f.error = errno;
	else if (!S_ISREG(st.st_mode))
		f.error = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	else {
		f.mode = st.st_mode & 07777;
		read_all(fd, max, &f);
	}
	if (fd >= 0)
		close(fd);
	return f;
}
