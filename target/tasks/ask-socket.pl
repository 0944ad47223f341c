# Connects to a Unix socket as each of some users, sends bytes, and prints the beginning of the answer.
# Arguments: path of the socket, bytes to send, number of bytes to read, seconds for each user, names of the users. Bytes
# are hexadecimal.
# Prints a line for each user: the name and the answer. The answer is `-` where there is no connection or no answer in
# time, and `?` where this process cannot become the user.
#
# A server sees the effective user of a process at its connection (unix(7), SO_PEERCRED). One process can therefore ask
# as several users. A program for each user, such as nix-store or psql, takes ten times as long to start.
use strict;
use warnings;
use Socket;

my ($path, $request, $length, $deadline, @users) = @ARGV;

# Lists the groups of a user, the main one first, in the words of $).
sub groups_of {
    my ($user, $main) = @_;
    my @groups = ($main, $main);
    while (my (undef, undef, $number, $members) = getgrent) {
        push @groups, $number if grep { $_ eq $user } split / /, $members;
    }
    endgrent;
    return join ' ', @groups;
}

# Reads at most this number of bytes.
sub beginning {
    my ($socket) = @_;
    my $read = '';
    while (length $read < $length) {
        my $more = sysread $socket, $read, $length - length $read, length $read;
        last unless $more;
    }
    return $read;
}

sub answer {
    socket my $socket, PF_UNIX, SOCK_STREAM, 0 or return '-';
    my $answer = eval {
        local $SIG{ALRM} = sub { die "no answer\n" };
        local $SIG{PIPE} = 'IGNORE';
        # A server that accepts nothing any more also holds the connection.
        alarm $deadline;
        connect $socket, pack_sockaddr_un($path) or die "no connection\n";
        syswrite $socket, pack 'H*', $request;
        my $read = beginning($socket);
        alarm 0;
        $read;
    };
    alarm 0;
    return defined $answer ? unpack 'H*', $answer : '-';
}

for my $user (@users) {
    my (undef, undef, $number, $main) = getpwnam $user;
    my $answer = '?';
    if (defined $number) {
        my ($old_user, $old_groups) = ($>, $));
        $) = groups_of($user, $main) if $old_user == 0;
        $> = $number;
        $answer = answer() if $> == $number;
        $> = $old_user;
        $) = $old_groups if $old_user == 0;
    }
    print "$user $answer\n";
}
