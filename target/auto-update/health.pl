# Health checks that the machine runs by itself. A deploy runs the same checks from the operator host
# (src/deploy/health.ts).
package Health;
use strict;
use warnings;
use IO::Socket::IP ();

# Runs all checks, and repeats each check until it succeeds or its time is over. Returns the failures as sentences.
sub failures {
    my ($checks) = @_;
    my %attempts = (cmd => \&command, http => \&http, tcp => \&tcp, systemd => \&unit);
    my @failures;
    for my $kind (qw(cmd http tcp systemd)) {
        for my $check (@{ $checks->{$kind} // [] }) {
            my ($name, $wrong) = until_healthy($check, $attempts{$kind});
            Machine::tell("health check: $name: " . ($wrong // 'ok'));
            push @failures, "$name: $wrong" if defined $wrong;
        }
    }
    return @failures;
}

sub until_healthy {
    my ($check, $attempt) = @_;
    my $end = Machine::uptime() + $check->{total};
    my $seconds = $check->{timeout} < $check->{total} ? $check->{timeout} : $check->{total};
    while (1) {
        my ($name, $wrong) = $attempt->($check, $seconds);
        return ($check->{description} // $name, $wrong) if !defined $wrong || Machine::uptime() + $check->{period} >= $end;
        select undef, undef, undef, $check->{period};
    }
}

sub command {
    my ($check, $seconds) = @_;
    my ($code, $said, $wrong) = Machine::run($seconds, @{ $check->{cmd} });
    return ("cmd: @{ $check->{cmd} }", $code == 0 ? undef : Machine::failure_of($code, "$said\n$wrong", $seconds));
}

sub http {
    my ($check, $seconds) = @_;
    my $host = $check->{host} // 'localhost';
    my $url  = "$check->{scheme}://" . ($host =~ /:/ ? "[$host]" : $host) . ":$check->{port}$check->{path}";
    my @headers = map { ('-H', "$_: $check->{headers}{$_}") } sort keys %{ $check->{headers} // {} };
    my @curl = ('curl', '-q', '-sS', '--globoff', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', $seconds);
    push @curl, '--noproxy', '*' if !defined $check->{host};
    push @curl, '--insecure' if $check->{insecureSSL};
    my ($code, $status, $wrong) = Machine::run($seconds + 10, @curl, @headers, '--', $url);
    return ("http: $url", Machine::failure_of($code, $wrong, $seconds)) if $code != 0;
    return ("http: $url", $status =~ /^2/ ? undef : "the server answered with status $status");
}

sub tcp {
    my ($check, $seconds) = @_;
    my $host = $check->{host} // '127.0.0.1';
    my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $check->{port}, Timeout => $seconds);
    return ("tcp: $host:$check->{port}", $socket ? undef : "no connection: $@");
}

sub unit {
    my ($check, $seconds) = @_;
    my ($code, $said) = Machine::run($seconds, 'systemctl', 'is-active', '--', $check->{unit});
    chomp $said;
    return ("systemd: $check->{unit}", $code == 0 ? undef : 'the unit is ' . ($said eq '' ? 'unknown' : $said));
}

1;
