/*
 * date.c - dates as they are written: in a trace line (RFC 5322 3.3), in reports (RFC 3339).
 *
 * On any thread.  Not strftime() for mail: its names of days and months follow the
 * locale.
 */
#include <stdio.h>

#include "mail/mail.h"

size_t ga_mail_date(time_t t, char buf[GA_DATE_ROOM])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;
	long zone;
	int n;

	if (localtime_r(&t, &tm) == NULL) {
		t = 0;
		localtime_r(&t, &tm);
	}
	zone = tm.tm_gmtoff / 60;
	n = snprintf(buf, GA_DATE_ROOM, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld",
	    days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec, zone < 0 ? '-' : '+',
	    (zone < 0 ? -zone : zone) / 60, (zone < 0 ? -zone : zone) % 60);
	return n < 0 ? 0 : n < GA_DATE_ROOM ? (size_t)n : GA_DATE_ROOM - 1;
}

const char *ga_date_rfc3339(uint64_t wall_ms, char buf[GA_DATE_ROOM])
{
	time_t t = (time_t)(wall_ms / 1000);
	char day[24], zone[8];
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL) {
		t = 0;
		localtime_r(&t, &tm);
	}
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof zone, "%z", &tm);
	snprintf(buf, GA_DATE_ROOM, "%s.%03u%.3s:%.2s", day, (unsigned)(wall_ms % 1000), zone, zone + 3);
	return buf;
}
