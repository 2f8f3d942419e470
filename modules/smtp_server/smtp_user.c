/*
 * smtp_user.c - `greenarrow smtp_user NAME`: a line for smtp_users.
 *
 * Run by greenarrowd --command, without a daemon.  Reads the password from the terminal,
 * twice and unseen, or one line of standard input; prints the line, and writes no file:
 * where it goes is the operator's to say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <crypt.h>
#include <gnutls/crypto.h>

#include <greenarrow/injection.h>

#include "password.h"
#include "smtp_user.h"

/* What GNU SASL and others take now; a login costs a tenth of a second or so. */
#define ITERATIONS 65536u
#define SALT 18u
#define PASSWORD_MAX 512u

struct wish {
	struct ga_str name, mail_class;
	bool crypt;			/* for programs that know crypt(3) alone */
};

static int
usage(void)
{
	fprintf(stderr, "usage: smtp_user [--crypt] [--mail-class=CLASS] NAME\n");
	return 2;
}

static bool
take_arguments(int argc, char **argv, struct wish *w)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--crypt") == 0)
			w->crypt = true;
		else if (strncmp(argv[i], "--mail-class=", 13) == 0)
			w->mail_class = ga_str_c(argv[i] + 13);
		else if (argv[i][0] == '-' || w->name.n > 0)
			return false;
		else
			w->name = ga_str_c(argv[i]);
	}
	return w->name.n > 0;
}

/* A line without its end; unseen where there is a terminal.  Octets, -1: none. */
static ssize_t
read_password(const char *prompt, char password[PASSWORD_MAX])
{
	struct termios seen, unseen;
	bool terminal = tcgetattr(STDIN_FILENO, &seen) == 0;
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (terminal) {
		fputs(prompt, stderr);
		unseen = seen;
		unseen.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &unseen);
	}
	n = getline(&line, &room, stdin);
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &seen);
		fputc('\n', stderr);
	}
	if (n > 0 && line[n - 1] == '\n')
		n--;
	if (n >= 0 && (size_t)n < PASSWORD_MAX)
		memcpy(password, line, (size_t)n);
	else
		n = -1;
	if (line != NULL)
		explicit_bzero(line, room);
	free(line);
	return n;
}

/* False: said why. */
static bool
ask(char password[PASSWORD_MAX], struct ga_str *given)
{
	char again[PASSWORD_MAX];
	ssize_t n = read_password("Password: ", password), m = n;
	bool same = true;

	if (n > 0 && isatty(STDIN_FILENO)) {
		m = read_password("Once more: ", again);
		same = m == n && memcmp(password, again, (size_t)n) == 0;
		explicit_bzero(again, sizeof again);
	}
	*given = (struct ga_str){ password, n > 0 ? (size_t)n : 0 };
	if (!same)
		fprintf(stderr, "These were two different passwords.\n");
	else if (n <= 0 || memchr(password, '\0', (size_t)n) != NULL)
		fprintf(stderr, "A password has 1 to %u octets, none of them NUL.\n", PASSWORD_MAX - 1);
	return same && n > 0 && memchr(password, '\0', (size_t)n) == NULL;
}

static bool
make_scram(struct ga_str password, char text[SMTPD_SCRAM_TEXT])
{
	struct smtpd_scram_keys k = { .iterations = ITERATIONS, .nsalt = SALT };
	bool ok = gnutls_rnd(GNUTLS_RND_KEY, k.salt, k.nsalt) >= 0 && smtpd_scram_derive(&k, password);

	if (ok)
		smtpd_scram_print(&k, text);
	explicit_bzero(&k, sizeof k);
	return ok;
}

/* yescrypt at libxcrypt's own cost. */
static bool
make_crypt(const char *password, char text[CRYPT_OUTPUT_SIZE])
{
	struct crypt_data *data = ga_xcalloc(1, sizeof *data);
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash = NULL;

	if (crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof salt) != NULL)
		hash = crypt_rn(password, salt, data, sizeof *data);
	if (hash != NULL)
		snprintf(text, CRYPT_OUTPUT_SIZE, "%s", hash);
	explicit_bzero(data, sizeof *data);
	free(data);
	return hash != NULL;
}

int
smtpd_user_command(struct ga_inst *inst, int argc, char **argv)
{
	struct wish w = { .crypt = false };
	char password[PASSWORD_MAX] = "", hash[CRYPT_OUTPUT_SIZE + SMTPD_SCRAM_TEXT];
	struct ga_str given;
	bool ok;

	if (!take_arguments(argc, argv, &w))
		return usage();
	if (!smtpd_user_name_valid(w.name)) {
		fprintf(stderr, "A name has 1 to 255 octets, no colon, no control character.\n");
		return 1;
	}
	if (w.mail_class.p != NULL && !ga_mail_class_valid(w.mail_class)) {
		fprintf(stderr, "A mail class is 2 to 64 letters and _, without __.\n");
		return 1;
	}
	if (!ask(password, &given))
		return 1;
	ok = w.crypt ? make_crypt(password, hash) : make_scram(given, hash);
	explicit_bzero(password, sizeof password);
	if (!ok) {
		fprintf(stderr, "This password cannot be hashed.\n");
		return 1;
	}
	printf("%s:%s%s%s\n", w.name.p, hash, w.mail_class.n > 0 ? ":" : "",
	    w.mail_class.n > 0 ? w.mail_class.p : "");
	return 0;
}
