"""What everything else stands on: facts that methods, studies and audits must agree about, each in one place."""
