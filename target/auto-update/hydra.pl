# Queries to a Hydra server, and the choice of an evaluation. `deploy --from-hydra` chooses in the same way
# (src/hydra/choose.ts).
package Hydra;
use strict;
use warnings;

my $most_redirects   = 4;
my $most_evaluations = 500;

sub url { $Machine::config->{url} }

# Requests JSON. Returns the answer, or nothing if Hydra has no such page. Dies with one sentence after any other
# failure.
sub ask {
    my ($path) = @_;
    my $at = $path;
    for (0 .. $most_redirects) {
        my ($status, $location, $body) = request($at);
        return undef if $status == 404;
        if ($status =~ /^30[12378]\z/) {
            $at = behind($location);
            next;
        }
        return decoded($at, $body) if $status == 200;
        die "Hydra at ${\ url()} refuses $at with status $status\n" if $status < 500;
        die "Hydra at ${\ url()} fails at $at with status $status\n";
    }
    die "Hydra at ${\ url()} redirects $path again and again\n";
}

sub request {
    my ($path) = @_;
    my $seconds = $Machine::config->{askSeconds};
    my @curl = ('curl', '-q', '-sS', '--globoff', '--proto', '=http,https', '--connect-timeout', 15, '--max-time', $seconds);
    my @form = ('-H', 'Accept: application/json', '-w', '\n%{http_code} %{redirect_url}');
    my ($code, $said, $wrong) = Machine::run($seconds + 15, @curl, @form, '--', url() . $path);
    if ($code != 0) {
        (my $why = Machine::failure_of($code, $wrong, $seconds)) =~ s/^curl: \(\d+\) //;
        $why = 'curl is not installed' if $code == 127;
        die "Hydra at ${\ url()} does not answer $path: $why\n";
    }
    my ($body, $status, $location) = $said =~ /\A(.*)\n(\d+) (\S*)\z/s or die "curl gave no status of $path\n";
    return ($status, $location, $body);
}

# Returns the path of a redirect within the configured Hydra. A redirect to any other address is refused, because the
# configuration does not name that address.
sub behind {
    my ($location) = @_;
    my $base = lc url() . '/';
    return substr $location, length(url()) if index(lc $location, $base) == 0;
    die "Hydra at ${\ url()} redirects to another address: $location\n";
}

sub decoded {
    my ($path, $body) = @_;
    my $value = eval { JSON::PP->new->utf8->decode($body) };
    return $value if ref $value;
    my $kind = $body =~ /^\s*</ ? 'a page of HTML' : 'text';
    die "Hydra at ${\ url()} answers $path with $kind instead of JSON\n";
}

# Requests a JSON object; dies if the answer is something else.
sub ask_set {
    my ($path, @numbers) = @_;
    my $found = ask($path) // return undef;
    if (ref $found eq 'HASH') {
        my ($wrong) = grep { ($found->{$_} // '') !~ /^\d+\z/ } @numbers;
        return $found if !defined $wrong;
        die "Hydra at ${\ url()} answers $path without a number '$wrong'\n";
    }
    die "Hydra at ${\ url()} answers $path with a list\n";
}

sub build_in {
    my ($evaluation, $job) = @_;
    return ask_set("/eval/$evaluation/job/$job", 'id', 'finished');
}

sub is_green {
    my ($build) = @_;
    # A restarted build keeps its old status (measured).
    return $build->{finished} != 0 && ($build->{buildstatus} // -1) eq '0';
}

my %words = (
    0 => 'succeeded', 1 => 'failed', 2 => 'a dependency failed', 3 => 'aborted', 4 => 'cancelled', 6 => 'failed with output',
    7 => 'timed out', 9 => 'no builder for its system or features', 10 => 'log too long', 11 => 'output too large',
    12 => 'not deterministic',
);

sub state_of {
    my ($build) = @_;
    return 'not finished' if $build->{finished} == 0;
    my $status = $build->{buildstatus} // -1;
    return $words{$status} // "status $status";
}

sub output_of {
    my ($build) = @_;
    my $outputs = $build->{buildoutputs};
    my $out = ref $outputs eq 'HASH' ? $outputs->{out} : undef;
    return (ref $out eq 'HASH' ? $out->{path} : undef) // '';
}

# Returns an iterator over the evaluations of the jobset, the newest first.
sub evaluations {
    my $path = "/jobset/$Machine::config->{project}/$Machine::config->{jobset}/evals";
    my ($page, $last, $more, @waiting) = (0, undef, 1);
    return sub {
        while (!@waiting && $more) {
            $page++;
            my $found = ask_set($page == 1 ? $path : "$path?page=$page")
                // die "Hydra at ${\ url()} has no jobset $Machine::config->{project}:$Machine::config->{jobset}\n";
            my @evals = ref $found->{evals} eq 'ARRAY' ? @{ $found->{evals} } : ();
            # A new evaluation moves all older evaluations back, so a page may repeat some of the page before.
            @waiting = grep { ref $_ eq 'HASH' && ($_->{id} // '') =~ /^\d+\z/ && (!defined $last || $_->{id} < $last) } @evals;
            $last = $waiting[-1]{id} if @waiting;
            $more = @evals && defined $found->{next};
        }
        return shift @waiting;
    };
}

# Chooses the newest evaluation with a green gate. `running` is the running path, and `known` is its evaluation if
# known. Returns a set: `evaluation`, `at` (its time), `passed` (newer evaluations, each with the reason), and `path`
# and `build` of the machine's job. A missing `path` means that no build newer than the running one is green.
sub choose {
    my ($running, $known) = @_;
    my ($gate_job, $job) = @{$Machine::config}{qw(gate job)};
    my $next = evaluations();
    my @passed;
    while (my $evaluation = $next->()) {
        my $id = $evaluation->{id};
        return { evaluation => $known, passed => \@passed } if defined $known && $id <= $known;
        last if @passed >= $most_evaluations;
        last if @passed && is_old($evaluation->{timestamp});
        my $own = build_in($id, $job);
        return { evaluation => $id, passed => \@passed } if $own && output_of($own) eq $running;
        my $gate = build_in($id, $gate_job);
        if ($gate && is_green($gate)) {
            my $at = $evaluation->{timestamp} // $gate->{timestamp} // $gate->{stoptime};
            return { evaluation => $id, at => $at, passed => \@passed, result_of($id, $gate, $own) };
        }
        push @passed, "evaluation $id: " . ($gate ? "build $gate->{id}: " . state_of($gate) : "no job '$gate_job'");
    }
    my $what = "Hydra at ${\ url()}: no evaluation of $Machine::config->{project}:$Machine::config->{jobset}";
    die "$what exists yet\n" if !@passed;
    my $young = defined $Machine::config->{maxAge} ? ' that is young enough' : '';
    die "$what$young has a green gate '$gate_job' (${\ join('; ', splice(@passed, 0, 3)) })\n";
}

# Returns the path and the build of the machine's job. An aggregate gate has the job among its constituents. Such a
# gate proves the job even if Hydra restarted the job's own build.
sub result_of {
    my ($id, $gate, $own) = @_;
    my $job   = $Machine::config->{job};
    my $parts = ask("/build/$gate->{id}/constituents");
    my @parts = ref $parts eq 'ARRAY' ? grep { ref $_ eq 'HASH' } @$parts : ();
    my ($part) = grep { ($_->{job} // '') eq $job } @parts;
    my $build = @parts ? $part : $own;
    if (!$build || ($build->{id} // '') !~ /^\d+\z/ || ($build->{finished} // '') !~ /^\d+\z/) {
        my @jobs = sort map { $_->{job} // () } @parts;
        my $list = @jobs ? "; its jobs are: @jobs" : '';
        die "Hydra at ${\ url()}: evaluation $id has no job '$job'" . (@parts ? " among the parts of its gate$list" : '') . "\n";
    }
    if (!is_green($build) && !(@parts && $build->{finished} == 0)) {
        die "Hydra at ${\ url()} has no result of build $build->{id} ('$job'): ${\ state_of($build) }\n";
    }
    my $path = output_of($build);
    # A .drv path would be built here, and a path outside the store is not a build result.
    if ($path !~ m{^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+\z} || $path =~ /\.drv\z/) {
        die "Hydra at ${\ url()}: build $build->{id} ('$job') has no output in /nix/store\n";
    }
    return (path => $path, build => $build->{id});
}

sub is_old {
    my ($at) = @_;
    my $most = $Machine::config->{maxAge};
    return defined $most && defined $at && $at =~ /^\d+\z/ && time - $at > $most;
}

1;
